"""Numbered, forward-only steps of the schema; peewee's runner finds them by their number and runs each once.

A released file never changes: a database knows by name what it has had. A new step is a new file.
"""
