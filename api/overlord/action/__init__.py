"""
What a peon asks of the Overlord, performed: one action, one transaction, one answer.

The action's meaning lives with its noun (`lock`, `segment`, `task`); here is only the door and the dispatch.
"""
