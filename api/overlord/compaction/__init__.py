"""
How the cluster and its datasources are to be compacted: set, shown, and remembered. Druid: OverlordCompactionResource

The configuration is kept under Druid's key, where a Coordinator reads it; making tasks of it is the Coordinator's, as
it is in Druid with `useSupervisors` off.
"""
