"""
The runner without Kubernetes: task slots on one machine, one peon process a task, one folder a task.

It decides nothing about tasks: the Overlord hands out attempts, the MiddleManager starts, watches and ends processes
and says what it sees of them. It may be killed at any moment; its peons go on, and are found again.
"""
