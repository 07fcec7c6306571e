"""The dashboard: server-rendered pages over the keeper and the directory.

A page is one file in `pages/` and one line in its `PAGES` tuple. The file holds a `Page`: its path, who may see it
(a page without a role cannot be written), and `show`, which asks and returns a `View` around an `Answer`. HTML, `.json`
and `.csv` are made from the same answer, so a page that has only an answer needs no template.

What changes something is an `Action` of the page: a path, a role and `act`, which calls the directory (whose audit log
gets `visit.by`) and returns `Done` (a redirect with a message on the next page) or a `View` (to show a secret once). A
FareboxError that it raises shows the page again with the message (`visit.problem`), what was typed (`visit.form`) and
where it was sent (`visit.asked_at`). Forms are written with the macros of `templates/forms.html`: `form` carries the
token against forged ones, `field` and `choice` label their fields, `confirm` asks before what cannot be undone,
`secret` shows one once. Pages with more than a few fields describe them in Python (`forms.Form`, `forms.Field`) and use
`manage.html`, which draws them, says an error beside the field that it names, and hides from an analyst what only an
admin may send.
"""
