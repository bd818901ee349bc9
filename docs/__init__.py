"""The site: its pages, and in `_ext` what runs their code when it is built."""
