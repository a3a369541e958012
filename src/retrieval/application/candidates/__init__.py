"""What a user should see next: many sources, merged, filtered, reordered."""
