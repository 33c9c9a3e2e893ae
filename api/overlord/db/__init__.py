"""
Postgres: the pool, the migrations, and the hints by which replicas wake each other.

No rule of the Overlord lives here; what a row means is said by the floors above.
"""
