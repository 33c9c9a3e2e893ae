"""
The logs of pods, brought to where they stay.

Knows nothing of how a pod's log is asked for: whoever calls hands that in.
"""
