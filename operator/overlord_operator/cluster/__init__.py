"""
The API server, as far as the operator needs it. The one place that has heard of the `kubernetes` client.

Objects are plain JSON in and out: the client's models cost more than the calls. Knows nothing of tasks.
"""
