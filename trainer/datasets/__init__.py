"""Sheets, records, dialogues and raw text in, dataset folder out."""
