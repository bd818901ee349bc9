"""Rows from anywhere: files, queries, streams and frames that are read batch by batch, as often as needed."""
