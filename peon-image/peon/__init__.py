"""
The worker: runs exactly one task, then ends. Synchronous, columns not rows.

Knows the Overlord's HTTP interface and object storage; has never heard of Kubernetes or Postgres.
"""
