(** From bounds on single layers to all strategies and all placements: a finite list, gone through. *)

From Coq Require Import List Arith ZArith Lia Bool.
From Shardproof Require Import Placement Arguments Attained.
Import ListNotations.
Open Scope Z_scope.

Lemma class_eq_dec (c c' : rank_class) : {c = c'} + {c <> c'}.
Proof. decide equality; first [apply Nat.eq_dec | apply Z.eq_dec | decide equality; apply Z.eq_dec]. Defined.

Lemma problem_eq_dec (p q : problem) : {p = q} + {p <> q}.
Proof.
  decide equality; first [apply Nat.eq_dec | apply (list_eq_dec Z.eq_dec) | apply (list_eq_dec class_eq_dec)].
Defined.

(** Every placement of [problem_of] has a rank of at least [least]: by an argument, or in closed form. *)
Record fact := Fact { problem_of : problem; least : Z; argued : option argument }.

Definition speeds_nonneg (p : problem) : bool := forallb (fun c => 0 <=? speed c) (classes p).

Definition check_fact (f : fact) : bool := speeds_nonneg (problem_of f) && check_bound (problem_of f) (least f) (argued f).

Theorem fact_sound f h : check_fact f = true -> attained (problem_of f) h -> least f <= h.
Proof.
  unfold check_fact. rewrite andb_true_iff. intros [HS HK] (pl & HV & HW).
  apply (bound_sound _ _ _ HK pl h HV HW). apply Forall_forall. intros c Hc.
  unfold speeds_nonneg in HS. rewrite forallb_forall in HS. apply Z.leb_le, HS, Hc.
Qed.

Section Strategies.
(** What a strategy costs, given the heaviest rank of each of its layers; and the placement problem of each layer. *)
Variable strategy : Type.
Variable layers : strategy -> list problem.
Variable cost : strategy -> list Z -> Z.

Hypothesis cost_monotone : forall s hs hs', Forall2 Z.le hs hs' -> cost s hs <= cost s hs'.

(** The best bound of the facts about a problem; None where there is none. *)
Fixpoint bound_for (facts : list fact) (p : problem) : option Z :=
  match facts with
  | [] => None
  | f :: facts =>
      if problem_eq_dec (problem_of f) p
      then Some match bound_for facts p with None => least f | Some b => Z.max (least f) b end
      else bound_for facts p
  end.

Fixpoint bounds_for (facts : list fact) (ps : list problem) : option (list Z) :=
  match ps with
  | [] => Some []
  | p :: ps => match bound_for facts p, bounds_for facts ps with Some b, Some bs => Some (b :: bs) | _, _ => None end
  end.

Definition check_strategy (facts : list fact) (claim : Z) (s : strategy) : bool :=
  match bounds_for facts (layers s) with None => false | Some bs => claim <=? cost s bs end.

(** Each fact is checked once; then no strategy is below the claim at its bounds. *)
Definition check_claim (facts : list fact) (strategies : list strategy) (claim : Z) : bool :=
  forallb check_fact facts && forallb (check_strategy facts claim) strategies.

Lemma bound_for_sound facts p b h : forallb check_fact facts = true -> bound_for facts p = Some b -> attained p h -> b <= h.
Proof.
  intros HF HB HA. revert b HB. induction facts as [|f facts IH]; simpl in *; intros b HB; [discriminate|].
  apply andb_true_iff in HF as [Hf HF]. destruct (problem_eq_dec (problem_of f) p) as [E|E]; [|apply IH; assumption].
  rewrite <- E in HA. pose proof (fact_sound f h Hf HA). rewrite E in HA.
  destruct (bound_for facts p) as [b'|]; inversion HB; subst; [specialize (IH HF b' eq_refl)|]; lia.
Qed.

Lemma bounds_for_sound facts : forallb check_fact facts = true ->
  forall ps bs hs, bounds_for facts ps = Some bs -> Forall2 attained ps hs -> Forall2 Z.le bs hs.
Proof.
  intros HF. induction ps as [|p ps IH]; simpl; intros bs hs HB HA; inversion HA; subst.
  - inversion HB. constructor.
  - destruct (bound_for facts p) as [b|] eqn:E; [|discriminate].
    destruct (bounds_for facts ps) as [bs'|]; [|discriminate]. inversion HB; subst.
    constructor; [eapply bound_for_sound; eassumption|apply IH; auto].
Qed.

(** No strategy of the list, under whatever placements of its layers, costs less than the claim. *)
Theorem enumeration_sound facts strategies claim : check_claim facts strategies claim = true ->
  forall s, In s strategies -> forall hs, Forall2 attained (layers s) hs -> claim <= cost s hs.
Proof.
  unfold check_claim. rewrite andb_true_iff. intros [HF HC] s Hs hs HA.
  rewrite forallb_forall in HC. specialize (HC s Hs). unfold check_strategy in HC.
  destruct (bounds_for facts (layers s)) as [bs|] eqn:E; [|discriminate]. apply Z.leb_le in HC.
  etransitivity; [exact HC|]. apply cost_monotone, (bounds_for_sound facts HF _ _ _ E HA).
Qed.

(** A strategy and placements that cost the claim are then the best there are. *)
Corollary optimal facts strategies claim s hs : check_claim facts strategies claim = true ->
  In s strategies -> Forall2 attained (layers s) hs -> cost s hs = claim ->
  forall s' hs', In s' strategies -> Forall2 attained (layers s') hs' -> cost s hs <= cost s' hs'.
Proof. intros HK _ _ <- s' hs' Hs' HA. apply (enumeration_sound facts strategies _ HK s' Hs' hs' HA). Qed.
End Strategies.

(** * Costs that are monotone by construction *)

(** The forms that a step time is made of: the slowest stage, sums over layers, the best of some splits. *)
Inductive price :=
| Constant (k : Z)
| Heaviest (layer : nat)
| Plus (a b : price)
| Slowest (a b : price)
| Best (a b : price)
| Times (k : N) (a : price)
| PerUnit (a : price) (k : positive).  (* rounded up *)

Fixpoint priced (a : price) (hs : list Z) : Z :=
  match a with
  | Constant k => k
  | Heaviest i => nth i hs 0
  | Plus a b => priced a hs + priced b hs
  | Slowest a b => Z.max (priced a hs) (priced b hs)
  | Best a b => Z.min (priced a hs) (priced b hs)
  | Times k a => Z.of_N k * priced a hs
  | PerUnit a k => - (- priced a hs / Z.pos k)
  end.

Lemma priced_monotone a hs hs' : Forall2 Z.le hs hs' -> priced a hs <= priced a hs'.
Proof.
  intros H. induction a as [k|i|a IHa b IHb|a IHa b IHb|a IHa b IHb|k a IHa|a IHa k]; simpl; try lia.
  - revert i. induction H as [|h h' hs hs' Hh _ IH]; intros [|i]; simpl; auto; lia.
  - nia.
  - pose proof (Z.div_le_mono (- priced a hs') (- priced a hs) (Z.pos k) ltac:(lia) ltac:(lia)). lia.
Qed.

(** A strategy: its layers' problems and its price in terms of their heaviest ranks. *)
Record candidate := Candidate { candidate_layers : list problem; candidate_price : price }.

Definition check_candidates : list fact -> list candidate -> Z -> bool :=
  check_claim candidate candidate_layers (fun s => priced (candidate_price s)).

Theorem candidates_sound facts candidates claim : check_candidates facts candidates claim = true ->
  forall s, In s candidates -> forall hs, Forall2 attained (candidate_layers s) hs -> claim <= priced (candidate_price s) hs.
Proof. apply enumeration_sound. intros s hs hs'. apply priced_monotone. Qed.
