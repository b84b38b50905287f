(** The checkers as OCaml. Numbers stay those of Coq, of any size: nothing overflows, and no axiom stands for an operation. *)

From Coq Require Import Extraction ExtrOcamlBasic ZArith.
From Shardproof Require Import Placement Prices Arguments Attained Stages.

Extraction Language OCaml.
Extraction "checker.ml" check_bound check_kept fits_stages Z.add Z.mul Z.opp Z.to_N N.succ_pos.
