"""
What the API says of itself in `/openapi.json`: bodies, parameters, every status that an operation may answer.

Nothing here is on the way of a call. A status that is not described is a defect: `tests/clients` looks for some.
"""
