"""A scan's step: what of it must run in order, its equations in index notation, its class, and the forms that class has."""
