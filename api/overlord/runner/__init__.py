"""
The runners' side of the protocol: they announce themselves, pull orders, and report what they see.

The Overlord never calls a runner.
"""
