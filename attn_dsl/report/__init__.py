"""Pictures and pages: what a mechanism looks like and what it will cost, drawn before any kernel runs.

    picture(Subject, kind, ...) -> Picture        masks, tiles, weights, a roofline, kinds of tiles (`picture`)
    page(subjects, ...)         -> str            one HTML page, with everything the compiler knows (`page`)

All figures of cost come from ``attn_dsl.account``; nothing is counted here.
"""
