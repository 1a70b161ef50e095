"""A recipe: all arms and seeds of a study in one file, trained, measured and put into one table.

reading    what the file says, and that all of it is a setting that there is
plan       what it will take
runs       the trainings and measurements, seed after seed: `holdfast train RECIPE`
arm_differences    differences of arms, with intervals that cross seeds, personas and items
table      the table
"""
