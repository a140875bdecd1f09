"""What makes a book of the package: notebooks, their runs and results, figures, claims, pages."""
