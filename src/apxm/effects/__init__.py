"""What code of the user does to what outlives it, as far as its text and what is known of libraries say."""
