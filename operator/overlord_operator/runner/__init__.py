"""
The operator as a runner: what it hears from the Overlord, and what it tells it of attempts.

Knows pods as readings alone, and never calls the API server.
"""
