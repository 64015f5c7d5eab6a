"""Result frames + true frames -> numbers, each with its unit, direction and definition."""
