"""explain: why a rule fires or does not, and who heard of it: a scene and a question in, explanations out.

The same functions that judge and tell are asked, so that an explanation cannot disagree with them. `asking` is the
one part that reads a store; `shown` and `as_json` are the two forms in which people and programs see the outcome.
"""
