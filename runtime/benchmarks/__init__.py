"""C-Eval and CMMLU: folders of questions by subject -> one sheet -> the files that their evaluation scripts write."""
