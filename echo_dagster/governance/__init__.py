"""What may be kept, and for how long: forgetting a person, and the retention of tables, models and pages."""
