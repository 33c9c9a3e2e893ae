"""
Locks on stretches of a datasource's time: who may write where, and with which version.

`conflict` decides and touches nothing, `store` reads and writes rows, `lockbox` ties the two together inside the
caller's transaction. Knows task ids, groups and priorities; never what a task does or what a segment holds.
"""
