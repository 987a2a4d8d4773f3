"""Chats that outlive the program: a tree of messages, kept in SQLite."""
