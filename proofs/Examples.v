(** The checkers at work inside the kernel: a bound above all closed forms, and a placement that attains it. *)

From Coq Require Import List Arith ZArith QArith Lia.
From Shardproof Require Import Placement Prices Order ClosedForms Arguments Attained Enumeration.
Import ListNotations.
Open Scope Z_scope.

(** Nine experts on three ranks of three slots; the mean is 18. *)
Definition nine : problem := uniform [12; 11; 8; 7; 6; 3; 3; 2; 2] [] 3 3 None.

Example closed_forms_say_18 : least_maximum (load nine) 3 3 (sort (load nine) (seq 0 9)) = 18.
Proof. reflexivity. Qed.

(** Every content of a rank that weighs at most 18 is worth at most 4; all experts are worth 13. *)
Definition thirteen : argument :=
  ByPrices (Prices 1 1 [[4]; [4]; [2]; [1]; [2]; [0]; [0]; [0]; [0]] [4] None).

Theorem nine_at_least_19 : forall pl, valid nine pl -> overloaded nine 18 pl.
Proof. apply (argument_overloads nine 18 thirteen). vm_compute. reflexivity. Qed.

Theorem nine_at_most_19 : attained nine 19.
Proof. apply (kept_sound nine 19 [[0; 5; 6]; [1; 4; 7]; [2; 3; 8]]%nat). vm_compute. reflexivity. Qed.

(** Two strategies, one with this layer and one that costs more whatever its placement: 19 + 100 is optimal. *)
Definition by_experts : candidate := Candidate [nine] (Plus (Heaviest 0) (Constant 100)).
Definition without_experts : candidate := Candidate [] (Constant 150).

Theorem two_strategies_optimal : forall s, In s [by_experts; without_experts] ->
  forall hs, Forall2 attained (candidate_layers s) hs -> 119 <= priced (candidate_price s) hs.
Proof. apply (candidates_sound [Fact nine 19 (Some thirteen)]). vm_compute. reflexivity. Qed.
