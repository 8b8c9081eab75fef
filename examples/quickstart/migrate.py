"""Prepares the database, once."""
import os, sqlite3

state = os.environ["STATE"]
os.makedirs(state, exist_ok=True)
with sqlite3.connect(f"{state}/shop.db") as db:
    db.execute("create table if not exists visits (at text default current_timestamp)")
print("level=info msg=\"database prepared\" tables=1")
