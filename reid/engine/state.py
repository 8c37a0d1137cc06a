"""Everything that training changes, and one step of it."""
