"""
Tasks: taken in, stored, released, assigned, listed, finished.

A task's state is its row in `druid_tasks`; where it stands on its way to a peon is its row in `nemeton_attempts`.
Nothing is kept in memory, so every replica serves every call.
"""
