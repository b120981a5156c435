"""Ways to run a recurrence over whole sequences in torch, one file per form, and `program`, which runs a classified step with them.

All forms take tensors [sequence, time, body…] in at least float32, and give what the step gives: the tests hold them to it.
"""
