"""Search: what the person typed becomes one small tree, and each engine answers that same tree.

Order of reading: ``when`` (times), ``tree`` (the AST), ``lexing`` (text to tokens), ``fields`` and ``values``
(names and types), ``query`` (tokens to AST), ``sql`` and ``embedded`` (the AST in DuckDB).
"""
