"""
Who calls, and what he may do: how callers are recognised, users and roles, the rule of every route.

The gate stands in the edge, before any route. What a permission is stands in `overlord.access`, for all rooms.
"""
