"""
Supervisors: specs that are stored until they are terminated, and what is said of them. Druid: SupervisorResource

What a supervisor does when it runs is not here: the types that are here need nobody to run them.
"""
