"""
`nemeton up`: PostgreSQL, Overlord and MiddleManager as one process tree over one data folder.

It starts, watches, restarts and ends processes; it knows nothing of tasks and speaks to no part beyond asking whether
it is ready.
"""
