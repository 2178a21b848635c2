"""Search: what the person typed becomes one small tree, and each engine answers that same tree.

Order of reading: ``when`` (times), ``tree`` (the AST), ``lexing`` (text to tokens), ``fields`` and ``values``
(names and types), ``query`` (tokens to AST); ``sources``, ``sealed`` and ``snapshot`` (where records lie),
``sql`` and ``matching`` (the AST in DuckDB), ``subject`` (one person by index), ``best`` (which rows are
shown), ``embedded`` (the answer); ``coverage``, ``statement`` and ``show`` (what is said of it).
"""
