"""
Pods of peons: what one looks like, which template it is made from, and what its status means.

Pure functions over Kubernetes' own JSON. Nothing here calls a server or reads a clock.
"""
