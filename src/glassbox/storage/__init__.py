"""What outlives the process: SQLite by default, PostgreSQL where several servers share it."""
