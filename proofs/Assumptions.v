(** Nothing is taken for granted: each line of the output is "Closed under the global context". *)

From Shardproof Require Import Placement Patterns Prices ClosedForms Tree Branch Split Arguments Attained Enumeration Stages.

Print Assumptions refuted_overloaded.
Print Assumptions full_exact.
Print Assumptions within_cap_sound.
Print Assumptions prices_sound.
Print Assumptions area_sound.
Print Assumptions heaviest_sound.
Print Assumptions full_sound.
Print Assumptions closed_form_sound.
Print Assumptions least_maximum_sound.
Print Assumptions tree_sound.
Print Assumptions branch_sound.
Print Assumptions split_cases.
Print Assumptions argument_sound.
Print Assumptions bound_sound.
Print Assumptions kept_sound.
Print Assumptions enumeration_sound.
Print Assumptions optimal.
Print Assumptions candidates_sound.
Print Assumptions fill_fewest.
Print Assumptions stages_exist.
Print Assumptions fits_stages_spec.
