"""
One module a task type: what it does between being started and its last word.
"""
