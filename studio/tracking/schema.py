"""The tables of the index and the version they have."""

from __future__ import annotations

import sqlite3

VERSION = 9
"""`PRAGMA user_version` of an index that this code can use; any other is rebuilt."""

# metrics: one row for each metric of an experiment, with a bit in `nan` for each statistic that is NaN;
# facts: every other single value (`params.lr`, `git.branch`) as number and as text; a whole number beyond 64 bits has
# the nearest double for its number, and its text tells it from others (see `exact`); `nan` tells NaN from its text;
# a variable that is secret has neither;
# labels: values of which there are many (`tags`, `artifacts`); lists: lists of packages;
# live: heartbeats as of the last sync; broken: objects in records/ that are no records;
# faulty: records with fields that cannot be read.
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, tag TEXT NOT NULL, status TEXT NOT NULL,
    heartbeat REAL, modified REAL, added REAL NOT NULL, started REAL, finished REAL, duration REAL,
    project TEXT NOT NULL, owner TEXT NOT NULL, kind TEXT NOT NULL, command TEXT, args TEXT, metric TEXT,
    exit_code, exit_signal, exit_reason TEXT, packages INTEGER);
CREATE INDEX experiments_added ON experiments (added, key);
CREATE INDEX experiments_running ON experiments (key) WHERE status = 'running';
CREATE TABLE documents (id INTEGER PRIMARY KEY, json BLOB NOT NULL);
CREATE TABLE words (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE metrics (name TEXT NOT NULL, id INTEGER NOT NULL, last, min, max, first, step, count,
    nan INTEGER NOT NULL, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE facts (name TEXT NOT NULL, id INTEGER NOT NULL, num, text TEXT, nan INTEGER NOT NULL,
    PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE labels (name TEXT NOT NULL, text TEXT NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY (name, text, id)) WITHOUT ROWID;
CREATE TABLE lists (id INTEGER PRIMARY KEY, json TEXT NOT NULL UNIQUE);
CREATE TABLE live (key TEXT PRIMARY KEY, tag TEXT NOT NULL, modified REAL NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE broken (name TEXT PRIMARY KEY, tag TEXT NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE faulty (key TEXT NOT NULL, place TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (key, place)) WITHOUT ROWID;
"""
NAMES = ("meta", "experiments", "documents", "words", "metrics", "facts", "labels", "lists", "live", "broken", "faulty")


def create(db: sqlite3.Connection) -> None:
    """Makes the empty tables; the caller holds a transaction."""
    for statement in TABLES.split(";"):
        if statement.strip():
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")
