"""Maps of a material from pictures of known geometry: what is light in them, what is relief, how surfaces reflect.

An estimate, from one picture per place: nobody can tell for certain whether something is dark or in shadow. It is made
to be right where there is nothing to tell (flat light, no relief), and restrained elsewhere.
"""
