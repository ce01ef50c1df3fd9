"""What SageMaker's container answers: invocations, whole or in parts, and the door before them.

Knows the platform's limits and the source document's fields; knows nothing of AWS but the store
for answers that are too large. The endpoint itself is the business of ``glassbox.deploy``.
"""
