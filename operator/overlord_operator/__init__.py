"""
The runner on Kubernetes: DruidTasks and the pods of their peons.

Follows the Overlord's orders, makes pods, says what becomes of them. Never decides whether a task succeeded, and knows
nothing of segments or of the Overlord's database.
"""
