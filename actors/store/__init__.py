"""The store's adapter: the only place that knows peewee and SQLite (DESIGN 4, "Store").

`database` opens, `writes` makes commits durable, `reads` and `pages` answer, `admin` checks, backs up and restores.
"""
