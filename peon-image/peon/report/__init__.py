"""
What a task says of itself while it runs and when it ends: rows counted, errors kept, the report's shape.
"""
