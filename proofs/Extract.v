(** The checkers as OCaml. Numbers stay those of Coq, of any size: nothing overflows, and no axiom stands for an operation. *)

From Coq Require Import Extraction ExtrOcamlBasic ZArith.
From Shardproof Require Import Placement Prices Arguments Enumeration.

Extraction Language OCaml.
Extraction "checker.ml" check_bound Z.add Z.mul Z.opp Z.to_N N.succ_pos.
