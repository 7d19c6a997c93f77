"""Webhooks: what happens to jobs, told to an address of the user's choice. Pure: times and chances come in.

`records.py` what is stored, `payload.py` what is said, `pace.py` when it is said again, `place.py` and `address.py`
where it may go, `signing.py` how it is signed, `book.py` all of it together.
"""
