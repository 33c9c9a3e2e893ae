"""
The DruidTask: the object as it is read, its status as it should be, and its story in Events.

All of it is pure, but for the writing of Events.
"""
