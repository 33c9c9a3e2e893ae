"""The steps that `decide` names, taken on pods, on DruidTasks and at the Overlord."""
