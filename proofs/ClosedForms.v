(** Bounds on the heaviest rank of every placement that need no argument: area, heaviest expert, pigeonhole, counting. *)

From Coq Require Import List Arith ZArith QArith Lia Bool Permutation.
From Shardproof Require Import Placement Order.
Import ListNotations.
Open Scope Z_scope.

(** * The bounds *)

(** ceil(a / b) *)
Definition ceil_div (a b : Z) : Z := - (- a / b).

(** Ranks, each counted with its speed. *)
Definition speeds (p : problem) : Z := fold_right (fun c s => Z.of_nat (ranks c) * speed c + s) 0 (classes p).

Definition total_load (p : problem) : Z := sum (load p) (seq 0 (experts p)).

(** Area, for any problem: the loads are more than all ranks may carry. *)
Definition area_exceeds (p : problem) (T : Z) : bool := T * speeds p <? total_load p.

(** The sum of the last [t] of a list. *)
Definition last_sum (w : nat -> Z) (t : nat) (l : list nat) : Z := sum w (skipn (length l - t) l).

Section Bounds.
(** [m] ranks of [k] items each; [order] lists all items, heaviest first. *)
Variables (w : nat -> Z) (m k : nat) (order : list nat).

Definition area : Z := ceil_div (sum w order) (Z.of_nat m).

(** Of the q m + 1 heaviest some rank holds q + 1; and k - q - 1 others. *)
Definition pigeonhole (q : nat) : Z :=
  last_sum w (q + 1) (firstn (q * m + 1) order) + last_sum w (k - q - 1) order.

(** The j heaviest lie on at most j ranks, which hold j k items. *)
Definition counting (j : nat) : Z :=
  ceil_div (sum w (firstn j order) + last_sum w (j * (k - 1)) order) (Z.of_nat j).

Definition least_maximum : Z :=
  fold_right Z.max area (map pigeonhole (seq 0 k) ++ map counting (seq 1 m)).
End Bounds.

(** One class of alike ranks without speeds, all slots taken by experts of one replica each. *)
Definition uniform (loads sizes : list Z) (m k : nat) (room : option Z) : problem :=
  Problem loads sizes [RankClass m k 1 room] 1.

Definition fastest (p : problem) : Z := fold_right (fun c m => Z.max (speed c) m) 0 (classes p).

(** Some expert is too heavy even for ranks of the fastest class that share it as widely as may be. *)
Definition heaviest_exceeds (p : problem) (T : Z) : bool :=
  forallb (Z.leb 0) (loads p) && forallb (fun c => 1 <=? speed c) (classes p)
  && existsb (fun e => T * (fastest p * Z.of_nat (replicas p)) <? load p e) (seq 0 (experts p)).

(** Pigeonhole and counting (and area again), where there is one class and every slot is full. *)
Definition full_exceeds (p : problem) (T : Z) : bool :=
  match classes p with
  | [c] => full p && negb (Nat.eqb (ranks c) 0) && negb (Nat.eqb (slots c) 0)
           && (T * speed c <? least_maximum (load p) (ranks c) (slots c) (sort (load p) (seq 0 (experts p))))
  | _ => false
  end.

Definition closed_form_exceeds (p : problem) (T : Z) : bool :=
  area_exceeds p T || heaviest_exceeds p T || full_exceeds p T.

(** * Area *)

Lemma ceil_div_gt a b T : 1 <= b -> T < ceil_div a b -> T * b < a.
Proof.
  unfold ceil_div. intros Hb H. pose proof (Z.mul_div_le (- a) b ltac:(lia)).
  pose proof (Z.mul_succ_div_gt (- a) b ltac:(lia)). nia.
Qed.

Lemma carried_app p pl l l' : (carried p pl (l ++ l') == carried p pl l + carried p pl l')%Q.
Proof. induction l as [|e l IH]; simpl; [rewrite Qplus_0_l; reflexivity|]. rewrite IH. apply Qplus_assoc. Qed.

(** [sum] over rationals. *)
Definition qsum (f : nat -> Q) (l : list nat) : Q := fold_right (fun e s => (f e + s)%Q) 0%Q l.

Lemma qsum_ext f g l : (forall e, In e l -> (f e == g e)%Q) -> (qsum f l == qsum g l)%Q.
Proof.
  induction l as [|e l IH]; simpl; intros H; [reflexivity|].
  rewrite (H e (or_introl eq_refl)), IH by auto. reflexivity.
Qed.

Lemma qsum_plus f g l : (qsum (fun e => f e + g e)%Q l == qsum f l + qsum g l)%Q.
Proof. induction l as [|e l IH]; simpl; [rewrite Qplus_0_l; reflexivity|]. rewrite IH. ring. Qed.

Lemma qsum_one (f : nat -> Q) (l : list nat) (x : nat) :
  NoDup l -> In x l -> (qsum (fun e => if Nat.eq_dec x e then f e else 0%Q) l == f x)%Q.
Proof.
  induction l as [|e l IH]; simpl; [easy|]. intros HD HI; inversion HD as [|? ? He HD']; subst.
  destruct (Nat.eq_dec x e) as [->|Hn].
  - rewrite (qsum_ext _ (fun _ => 0%Q)).
    + assert (Z0 : (qsum (fun _ => 0%Q) l == 0)%Q) by (clear; induction l; simpl; [|rewrite IHl]; reflexivity).
      rewrite Z0. ring.
    + intros y Hy; destruct (Nat.eq_dec e y); [subst; contradiction|reflexivity].
  - destruct HI as [->|HI]; [contradiction|]. rewrite IH by assumption. ring.
Qed.

Lemma qsum_count f n l : (forall e, In e l -> (e < n)%nat) ->
  (qsum f l == qsum (fun e => inject_Z (Z.of_nat (count_occ Nat.eq_dec l e)) * f e)%Q (seq 0 n))%Q.
Proof.
  induction l as [|x l IH]; intros H.
  - transitivity (qsum (fun _ => 0%Q) (seq 0 n)).
    + simpl. clear. induction (seq 0 n) as [|e l IH]; simpl; [|rewrite <- IH]; reflexivity.
    + apply qsum_ext. intros. simpl. ring.
  - simpl qsum at 1. rewrite IH by (intros; apply H; right; assumption).
    rewrite <- (qsum_one f (seq 0 n) x) by (try apply seq_NoDup; apply in_seq; specialize (H x (or_introl eq_refl)); lia).
    rewrite <- qsum_plus. apply qsum_ext; intros e _. simpl count_occ.
    destruct (Nat.eq_dec x e); [|ring]. rewrite Nat2Z.inj_succ, <- Z.add_1_l, inject_Z_plus. ring.
Qed.

(** All ranks together carry all loads. *)
Lemma carried_total p pl : valid p pl -> (carried p pl (concat (concat pl)) == inject_Z (total_load p))%Q.
Proof.
  intros HV. change (carried p pl (concat (concat pl)))
    with (qsum (fun e => load p e # Pos.of_nat (copies pl e)) (concat (concat pl))).
  rewrite (qsum_count _ (experts p)) by (apply held_bounds, HV).
  destruct HV as [_ HR]. unfold total_load.
  assert (H : forall l, (forall e, In e l -> (e < experts p)%nat) ->
    (qsum (fun e => inject_Z (Z.of_nat (count_occ Nat.eq_dec (concat (concat pl)) e)) * (load p e # Pos.of_nat (copies pl e)))%Q l
     == inject_Z (sum (load p) l))%Q).
  { induction l as [|e l IH]; simpl; intros HL; [reflexivity|]. rewrite inject_Z_plus, IH by auto.
    apply Qplus_comp; [|reflexivity]. specialize (HR e (HL e (or_introl eq_refl))). fold (copies pl e).
    assert (E : Z.pos (Pos.of_nat (copies pl e)) = Z.of_nat (copies pl e)) by lia.
    unfold Qeq, inject_Z, Qmult. cbn [Qnum Qden]. rewrite Pos.mul_1_l, E. ring. }
  apply H. intros e He. apply in_seq in He. lia.
Qed.

Lemma carried_within p pl T cs pls :
  Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) cs pls ->
  Forall2 (fun c held => Forall (fun S => (carried p pl S <= inject_Z (T * speed c))%Q) held) cs pls ->
  (carried p pl (concat (concat pls))
   <= inject_Z (T * fold_right (fun c s => Z.of_nat (ranks c) * speed c + s) 0 cs)%Z)%Q.
Proof.
  intros HL HW. induction HW as [|c held cs pls HW _ IH].
  - simpl. rewrite Z.mul_0_r. apply Qle_refl.
  - inversion HL as [|? ? ? ? [HR _] HL']; subst. simpl concat. rewrite concat_app.
    rewrite carried_app. simpl fold_right. rewrite Z.mul_add_distr_l, inject_Z_plus.
    apply Qplus_le_compat; [|apply IH, HL']. rewrite <- HR. clear - HW.
    induction HW as [|S held HS _ IH]; simpl concat.
    + simpl. rewrite Z.mul_0_r. apply Qle_refl.
    + rewrite carried_app. simpl length. rewrite Nat2Z.inj_succ.
      replace (T * (Z.succ (Z.of_nat (length held)) * speed c)) with (T * speed c + T * (Z.of_nat (length held) * speed c)) by ring.
      rewrite inject_Z_plus. apply Qplus_le_compat; assumption.
Qed.

Theorem area_sound p T : area_exceeds p T = true -> refuted p T.
Proof.
  intros HK pl HV HW. apply Z.ltb_lt in HK. pose proof (carried_within p pl T _ _ (proj1 HV) HW) as H.
  rewrite carried_total in H by exact HV. rewrite <- Zle_Qle in H. unfold speeds in HK. lia.
Qed.

(** * The heaviest expert *)

Lemma fastest_spec p c : In c (classes p) -> speed c <= fastest p.
Proof.
  unfold fastest. induction (classes p) as [|c' cs IH]; simpl; [easy|]. intros [->|H]; [|specialize (IH H)]; lia.
Qed.

Lemma load_nonneg p e : forallb (Z.leb 0) (loads p) = true -> 0 <= load p e.
Proof.
  rewrite forallb_forall. intros H. unfold load.
  destruct (lt_dec e (length (loads p))) as [He|He]; [|rewrite nth_overflow; lia].
  apply Z.leb_le, H, nth_In, He.
Qed.

Lemma carried_nonneg p pl S : (forall e, 0 <= load p e) -> (0 <= carried p pl S)%Q.
Proof.
  intros HL. induction S as [|e S IH]; simpl; [apply Qle_refl|].
  rewrite <- (Qplus_0_l 0) at 1. apply Qplus_le_compat; [|exact IH].
  specialize (HL e). unfold Qle. simpl. lia.
Qed.

Lemma carried_one p pl S e : (forall e, 0 <= load p e) -> In e S -> (load p e # Pos.of_nat (copies pl e) <= carried p pl S)%Q.
Proof.
  intros HL. induction S as [|f S IH]; simpl; [easy|]. intros [->|HI].
  - rewrite <- (Qplus_0_r (_ # _)) at 1. apply Qplus_le_compat; [apply Qle_refl|apply carried_nonneg, HL].
  - rewrite <- (Qplus_0_l (_ # _)) at 1. apply Qplus_le_compat; [|apply IH, HI].
    specialize (HL f). unfold Qle. simpl. lia.
Qed.

(** Every expert lies on some rank, and that rank keeps the threshold. *)
Lemma some_rank p T pl e : valid p pl -> within p T pl -> (e < experts p)%nat ->
  exists c S, In c (classes p) /\ In e S /\ (carried p pl S <= inject_Z (T * speed c))%Q.
Proof.
  intros [HV HR] HW He. specialize (HR e He).
  assert (HI : In e (concat (concat pl))) by (apply (count_occ_In Nat.eq_dec); unfold copies in HR; lia).
  unfold within in HW. revert HI. generalize (carried p pl) as q, HW. clear HW HV HR. intros q HW.
  induction HW as [|c held cs pls HW _ IH]; simpl; [easy|]. rewrite concat_app, in_app_iff. intros [HI|HI].
  - apply in_concat in HI as (S & HS & HI). rewrite Forall_forall in HW. exists c, S. auto.
  - destruct (IH HI) as (c' & S & H1 & H2). exists c', S. auto.
Qed.

Theorem heaviest_sound p T : heaviest_exceeds p T = true -> refuted p T.
Proof.
  unfold heaviest_exceeds. rewrite !andb_true_iff, existsb_exists. intros [[HL HS] (e & He & HT)] pl HV HW.
  apply in_seq in He. apply Z.ltb_lt in HT. assert (HL' := fun e => load_nonneg p e HL).
  destruct (some_rank p T pl e HV HW) as (c & S & Hc & HeS & HQ); [lia|].
  rewrite forallb_forall in HS. specialize (HS c Hc). apply Z.leb_le in HS.
  pose proof (fastest_spec p c Hc) as Hf. destruct HV as [_ HR]. specialize (HR e ltac:(lia)).
  assert (HT0 : 0 <= T * speed c).
  { pose proof (Qle_trans _ _ _ (carried_nonneg p pl S HL') HQ) as H. rewrite <- (Zle_Qle 0) in H. exact H. }
  pose proof (Qle_trans _ _ _ (carried_one p pl S e HL' HeS) HQ) as H. unfold Qle in H. cbn [inject_Z Qnum Qden] in H.
  assert (E : Z.pos (Pos.of_nat (copies pl e)) = Z.of_nat (copies pl e)) by lia. rewrite E, Z.mul_1_r in H.
  assert (0 <= T) by nia. assert (T * speed c <= T * fastest p) by nia.
  assert (T * speed c * Z.of_nat (copies pl e) <= T * fastest p * Z.of_nat (replicas p)) by (apply Z.mul_le_mono_nonneg; lia).
  lia.
Qed.

(** * Lightest *)

(** Fewer non-positive terms are more. *)
Lemma sum_subset f b : forall l, NoDup b -> incl b l -> (forall e, f e <= 0) -> sum f l <= sum f b.
Proof.
  induction b as [|e b IH]; intros l HN HI Hf; simpl.
  - rewrite <- (Z.mul_0_l (Z.of_nat (length l))), <- sum_const. apply sum_le. auto.
  - inversion HN as [|? ? He HN']; subst.
    destruct (in_split e l (HI e (or_introl eq_refl))) as (l1 & l2 & ->).
    assert (H : sum f (l1 ++ l2) <= sum f b).
    { apply IH; [assumption| |assumption]. intros x Hx. specialize (HI x (or_intror Hx)).
      rewrite in_app_iff in *. destruct HI as [|[->|]]; auto. contradiction. }
    rewrite sum_app in *. simpl. lia.
Qed.

(** Some items weigh at least as much as the lightest so many. *)
Lemma lightest w l b t : length b = t -> descending w l -> NoDup b -> incl b l -> last_sum w t l <= sum w b.
Proof.
  intros <- HD HN HI. pose proof (NoDup_incl_length HN HI) as HL. unfold last_sum. set (s := (length l - length b)%nat).
  rewrite <- (firstn_skipn s l) in HD, HI. destruct (descending_app w _ _ HD) as (_ & HD2 & HC).
  assert (HS : length (skipn s l) = length b) by (rewrite skipn_length; lia).
  destruct (skipn s l) as [|e lo] eqn:E; simpl in HS.
  - destruct b; [simpl; lia|discriminate].
  - (* every item of the front weighs at least w e, every item of the rest at most that *)
    assert (H : sum (fun x => w x - w e) (e :: lo) <= sum (fun x => w x - w e) b).
    { transitivity (sum (fun x => Z.min (w x - w e) 0) b); [|apply sum_le; intros; lia].
      transitivity (sum (fun x => Z.min (w x - w e) 0) (firstn s l ++ e :: lo)); [|apply sum_subset; auto; intros; lia].
      rewrite sum_app. assert (H1 : 0 <= sum (fun x => Z.min (w x - w e) 0) (firstn s l)).
      { apply sum_nonneg. intros x Hx. specialize (HC x e Hx (or_introl eq_refl)). lia. }
      assert (H2 : sum (fun x => w x - w e) (e :: lo) <= sum (fun x => Z.min (w x - w e) 0) (e :: lo)); [|lia].
      apply sum_le. intros x Hx. inversion HD2 as [|? ? _ HF]; subst. destruct Hx as [<-|Hx]; [lia|].
      rewrite Forall_forall in HF. specialize (HF x Hx). simpl in HF. lia. }
    assert (G : forall l, sum (fun x => w x - w e) l = sum w l - w e * Z.of_nat (length l)).
    { intros l'. rewrite <- sum_const. induction l'; simpl in *; lia. }
    rewrite !G in H. simpl length in H. rewrite <- HS in H. lia.
Qed.

(** * Pigeonhole and counting *)

Lemma NoDup_parts {A} (l l' : list A) : NoDup (l ++ l') -> NoDup l /\ NoDup l'.
Proof.
  induction l as [|y l IH]; simpl; intros H; [split; [constructor|exact H]|].
  inversion H as [|? ? Hy H']; subst. destruct (IH H') as [H1 H2].
  split; [|exact H2]. constructor; [|exact H1]. intros HI. apply Hy, in_app_iff. auto.
Qed.

Lemma heavy_rank q A (rs : list (list nat)) : NoDup A -> incl A (concat rs) -> (q * length rs < length A)%nat ->
  exists S, In S rs /\ (q + 1 <= length (filter (fun e => mem e A) S))%nat.
Proof.
  intros HN HI HL. assert (HC : (length A <= length (filter (fun e => mem e A) (concat rs)))%nat).
  { apply NoDup_incl_length; [assumption|]. intros e He. apply filter_In. split; [auto|apply mem_spec, He]. }
  assert (H : (q * length rs < length (filter (fun e => mem e A) (concat rs)))%nat) by lia. clear - H.
  induction rs as [|S rs IH]; simpl in *; [lia|]. rewrite filter_app, app_length in H.
  destruct (le_lt_dec (q + 1) (length (filter (fun e => mem e A) S))); [exists S; auto|].
  destruct IH as (S' & HS & HL); [lia|exists S'; auto].
Qed.

Lemma covering A (rs : list (list nat)) : incl A (concat rs) -> (length A <= length rs)%nat ->
  exists r1 r2, Permutation (r1 ++ r2) rs /\ length r1 = length A /\ incl A (concat r1).
Proof.
  induction A as [|a A IH]; intros HI HL; simpl in HL.
  - exists [], rs. repeat split; [reflexivity|intros ? []].
  - destruct IH as (r1 & r2 & HP & H1 & HA); [intros e He; apply HI; right; exact He|lia|].
    assert (exists S s1 s2, r2 = s1 ++ S :: s2 /\ (In a (concat r1) \/ In a S)) as (S & s1 & s2 & -> & HS).
    { destruct (in_dec Nat.eq_dec a (concat r1)) as [Ha|Ha].
      - destruct r2 as [|S r2]; [rewrite app_nil_r in HP; apply Permutation_length in HP; lia|].
        exists S, [], r2. auto.
      - assert (Hc : In a (concat rs)) by (apply HI; left; reflexivity). apply in_concat in Hc as (S & HS & Ha').
        apply (Permutation_in S (Permutation_sym HP)), in_app_iff in HS as [HS|HS].
        + exfalso. apply Ha, in_concat. exists S. auto.
        + apply in_split in HS as (s1 & s2 & ->). exists S, s1, s2. auto. }
    exists (S :: r1), (s1 ++ s2). split; [|split; [simpl; lia|]].
    + rewrite <- HP. simpl. rewrite Permutation_middle. apply Permutation_app_head, Permutation_middle.
    + intros e [<-|He]; simpl; apply in_app_iff; [destruct HS; auto|right; auto].
Qed.

Section Full.
(** Contents of [m] ranks, [k] items each, together all items once. *)
Variables (w : nat -> Z) (m k : nat) (order : list nat) (rs : list (list nat)).
Hypothesis HK : (1 <= k)%nat.
Hypothesis HM1 : (1 <= m)%nat.
Hypothesis HO : descending w order.
Hypothesis HN : NoDup order.
Hypothesis HP : Permutation (concat rs) order.
Hypothesis HM : length rs = m.
Hypothesis HF : Forall (fun S => length S = k) rs.

Lemma concat_length_eq (l : list (list nat)) : Forall (fun S => length S = k) l -> length (concat l) = (length l * k)%nat.
Proof. induction 1 as [|S l HS _ IH]; simpl; [reflexivity|]. rewrite app_length, IH. lia. Qed.

Lemma order_length : length order = (m * k)%nat.
Proof. rewrite <- (Permutation_length HP), (concat_length_eq rs HF), HM. reflexivity. Qed.

Lemma concat_NoDup : NoDup (concat rs).
Proof. apply (Permutation_NoDup (Permutation_sym HP) HN). Qed.

Lemma rank_NoDup S : In S rs -> NoDup S.
Proof.
  pose proof concat_NoDup as H. clear - H. induction rs as [|S' l IH]; simpl in *; [easy|].
  apply NoDup_parts in H as [H1 H2]. intros [->|HS]; auto.
Qed.

Lemma rank_incl S : In S rs -> incl S order.
Proof. intros HS e He. apply (Permutation_in e HP), in_concat. exists S. auto. Qed.

Lemma firstn_prefix n : descending w (firstn n order) /\ NoDup (firstn n order) /\ incl (firstn n order) order.
Proof.
  rewrite <- (firstn_skipn n order) in HO, HN. split; [apply (descending_app w _ _ HO)|].
  assert (HI : incl (firstn n order) order).
  { intros e He. rewrite <- (firstn_skipn n order). apply in_app_iff. auto. }
  split; [apply (NoDup_parts _ _ HN)|exact HI].
Qed.

Lemma pigeonhole_holds q : (q < k)%nat -> exists S, In S rs /\ pigeonhole w m k order q <= sum w S.
Proof.
  intros Hq. destruct (firstn_prefix (q * m + 1)) as (HD1 & HN1 & HI1). set (A := firstn (q * m + 1) order) in *.
  assert (HA : length A = (q * m + 1)%nat) by (unfold A; rewrite firstn_length, order_length; nia).
  destruct (heavy_rank q A rs HN1) as (S & HS & HL).
  { intros e He. apply (Permutation_in e (Permutation_sym HP)), HI1, He. }
  { rewrite HM, HA. lia. }
  exists S. split; [exact HS|]. pose proof (rank_NoDup S HS) as HNS.
  assert (HLS : length S = k) by (rewrite Forall_forall in HF; apply HF, HS).
  (* q + 1 of the heavy ones, and everything else on the rank *)
  set (H := filter (fun e => mem e A) S) in *. set (R := filter (fun e => negb (mem e A)) S).
  assert (HPS : Permutation (firstn (q + 1) H ++ (skipn (q + 1) H ++ R)) S).
  { rewrite app_assoc, firstn_skipn. apply partition_filter. }
  assert (HNP := Permutation_NoDup (Permutation_sym HPS) HNS). 
  apply NoDup_parts in HNP as [HN2 HN3].
  assert (HL2 : length (firstn (q + 1) H) = (q + 1)%nat) by (rewrite firstn_length; lia).
  assert (HL3 : length (skipn (q + 1) H ++ R) = (k - q - 1)%nat).
  { apply Permutation_length in HPS. rewrite app_length, HL2 in HPS. lia. }
  rewrite <- (sum_permutation w _ _ HPS), sum_app. unfold pigeonhole. fold A.
  apply Z.add_le_mono.
  - apply lightest; [assumption|assumption|assumption|].
    intros e He. apply mem_spec. assert (HeH : In e H) by (rewrite <- (firstn_skipn (q + 1) H); apply in_app_iff; auto).
    apply filter_In in HeH. tauto.
  - apply lightest; [assumption|assumption|assumption|].
    intros e He. apply (rank_incl S HS). apply (Permutation_in e HPS), in_app_iff. auto.
Qed.

Lemma counting_holds j T : (1 <= j <= m)%nat -> T < counting w k order j -> exists S, In S rs /\ T < sum w S.
Proof.
  intros Hj HT. apply ceil_div_gt in HT; [|lia]. destruct (firstn_prefix j) as (_ & HN1 & HI1).
  set (A := firstn j order) in *.
  assert (HA : length A = j) by (unfold A; rewrite firstn_length, order_length; nia).
  destruct (covering A rs) as (r1 & r2 & HPr & HL1 & HA1); [|lia|].
  { intros e He. apply (Permutation_in e (Permutation_sym HP)), HI1, He. }
  assert (HF1 : Forall (fun S => length S = k) r1).
  { apply Forall_forall. intros S HS. rewrite Forall_forall in HF. apply HF.
    apply (Permutation_in S HPr), in_app_iff. auto. }
  assert (HPc : Permutation (concat r1 ++ concat r2) (concat rs)).
  { rewrite <- concat_app. apply concat_permutation, HPr. }
  assert (HNc : NoDup (concat r1)).
  { exact (proj1 (NoDup_parts _ _ (Permutation_NoDup (Permutation_sym HPc) concat_NoDup))). }
  set (R := filter (fun e => negb (mem e A)) (concat r1)).
  assert (HPA : Permutation (A ++ R) (concat r1)).
  { rewrite <- (partition_filter (fun e => mem e A) (concat r1)). apply Permutation_app_tail.
    apply NoDup_Permutation; [exact HN1|apply NoDup_filter, HNc|].
    intros e. rewrite filter_In, mem_spec. split; [auto|tauto]. }
  assert (HLR : length R = (j * (k - 1))%nat).
  { pose proof (Permutation_length HPA) as HL. rewrite app_length, (concat_length_eq r1 HF1) in HL. nia. }
  assert (HR : last_sum w (j * (k - 1)) order <= sum w R).
  { apply lightest; [exact HLR|assumption|exact (proj2 (NoDup_parts _ _ (Permutation_NoDup (Permutation_sym HPA) HNc)))|].
    intros e He. apply (Permutation_in e HP), (Permutation_in e HPc), in_app_iff. left.
    apply (Permutation_in e HPA), in_app_iff. auto. }
  assert (HS : sum w A + sum w R = sum w (concat r1)) by (rewrite <- sum_app; apply sum_permutation, HPA).
  assert (G : T * Z.of_nat (length r1) < sum w (concat r1)) by (rewrite HL1, HA; lia).
  assert (HE : exists S, In S r1 /\ T < sum w S).
  { clear - G. induction r1 as [|S l IH]; [simpl in G; lia|]. simpl concat in G. rewrite sum_app in G.
    destruct (Z_lt_le_dec T (sum w S)) as [HS|HS]; [exists S; simpl; auto|].
    destruct IH as (S' & HS' & H); [simpl length in G; lia|exists S'; simpl; auto]. }
  destruct HE as (S & HS1 & HT1). exists S. split; [|exact HT1]. apply (Permutation_in S HPr), in_app_iff. auto.
Qed.

Lemma area_holds T : T < area w m order -> exists S, In S rs /\ T < sum w S.
Proof.
  intros HT. apply ceil_div_gt in HT; [|lia]. rewrite <- (sum_permutation w _ _ HP), <- HM in HT.
  clear - HT. induction rs as [|S l IH]; [simpl in HT; lia|]. simpl concat in HT. rewrite sum_app in HT.
  destruct (Z_lt_le_dec T (sum w S)) as [HS|HS]; [exists S; simpl; auto|].
  destruct IH as (S' & HS' & H); [simpl length in HT; lia|exists S'; simpl; auto].
Qed.

(** Some rank weighs at least the largest of the bounds. *)
Theorem least_maximum_holds T : T < least_maximum w m k order -> exists S, In S rs /\ T < sum w S.
Proof.
  unfold least_maximum. intros H.
  assert (G : forall l, T < fold_right Z.max (area w m order) l -> T < area w m order \/ exists b, In b l /\ T < b).
  { induction l as [|b l IH]; simpl; [auto|]. intros Hb. destruct (Z_lt_le_dec T b); [right; exists b; auto|].
    destruct IH as [Ha|(b' & Hb' & Hl)]; [lia|auto|right; exists b'; auto]. }
  destruct (G _ H) as [Ha|(b & Hb & Hl)]; [apply area_holds, Ha|].
  apply in_app_iff in Hb as [Hb|Hb]; apply in_map_iff in Hb as (i & <- & Hi); apply in_seq in Hi.
  - destruct (pigeonhole_holds i) as (S & HS & Hle); [lia|]. exists S. split; [exact HS|lia].
  - apply (counting_holds i); [lia|exact Hl].
Qed.
End Full.

(** * Into the terms of Placement.v *)

(** Without replicas a rank carries the sum of its loads. *)
Lemma carried_whole p pl S : (forall e, In e S -> copies pl e = 1%nat) -> (carried p pl S == inject_Z (sum (load p) S))%Q.
Proof.
  induction S as [|e S IH]; simpl; intros H; [reflexivity|].
  rewrite inject_Z_plus, IH by auto. rewrite H by auto. reflexivity.
Qed.

Theorem full_sound p T : full_exceeds p T = true -> refuted p T.
Proof.
  unfold full_exceeds. destruct (classes p) as [|c [|c' cs]] eqn:EC; [discriminate| |discriminate].
  rewrite !andb_true_iff, !negb_true_iff. intros [[[EF ER] EK] HT] pl HV HW. apply Z.ltb_lt in HT. apply Nat.eqb_neq in ER, EK.
  pose proof (full_exact p pl EF HV) as HE. pose proof (held_bounds p pl HV) as HB.
  assert (HC : forall e, (e < experts p)%nat -> copies pl e = 1%nat).
  { intros e He. destruct HV as [_ HR]. specialize (HR e He).
    apply andb_true_iff in EF as [EF _]. apply Nat.eqb_eq in EF. lia. }
  destruct HV as [HV _]. unfold within in HW. rewrite EC in HE, HV, HW.
  inversion HV as [|? held ? pls [HL HF] HV']; subst. inversion HV'; subst. clear HV'.
  inversion HE as [|? ? ? ? HE1 _]; subst. inversion HW as [|? ? ? ? HW1 _]; subst.
  assert (EP : concat (concat [held]) = concat held) by (simpl; rewrite app_nil_r; reflexivity).
  rewrite EP in HB. unfold copies in HC. rewrite EP in HC.
  destruct (least_maximum_holds (load p) (ranks c) (slots c) (sort (load p) (seq 0 (experts p))) held)
    with (T := T * speed c) as (S & HS & HTS); try assumption; try lia.
  - apply sort_descending.
  - apply (Permutation_NoDup (Permutation_sym (sort_permutation _ _))), seq_NoDup.
  - rewrite sort_permutation. apply NoDup_Permutation; [|apply seq_NoDup|].
    + apply (NoDup_count_occ Nat.eq_dec). intros e. destruct (in_dec Nat.eq_dec e (concat held)) as [He|He].
      * rewrite HC; [lia|apply HB, He].
      * apply (count_occ_not_In Nat.eq_dec) in He. lia.
    + intros e. rewrite in_seq. split; [intros He; specialize (HB e He); lia|].
      intros He. apply (count_occ_In Nat.eq_dec). rewrite HC; lia.
  - rewrite Forall_forall in HW1. specialize (HW1 S HS). rewrite carried_whole in HW1.
    + rewrite <- Zle_Qle in HW1. lia.
    + intros e He. unfold copies. rewrite EP. apply HC, HB, in_concat. exists S. auto.
Qed.

Theorem closed_form_sound p T : closed_form_exceeds p T = true -> refuted p T.
Proof.
  unfold closed_form_exceeds. rewrite !orb_true_iff.
  intros [[H|H]|H]; [apply area_sound|apply heaviest_sound|apply full_sound]; exact H.
Qed.

(** The computed number is a lower bound: whatever a placement keeps is at least that. *)
Corollary least_maximum_sound loads sizes m k room pl T :
  (1 <= m)%nat -> (1 <= k)%nat -> length loads = (m * k)%nat ->
  valid (uniform loads sizes m k room) pl -> within (uniform loads sizes m k room) T pl ->
  let w := load (uniform loads sizes m k room) in
  least_maximum w m k (sort w (seq 0 (m * k))) <= T.
Proof.
  intros Hm Hk HL HV HW. cbn zeta. set (p := uniform loads sizes m k room) in *.
  destruct (Z_lt_le_dec T (least_maximum (load p) m k (sort (load p) (seq 0 (m * k))))) as [H|H]; [|exact H].
  exfalso. refine (full_sound p T _ pl HV HW). unfold full_exceeds. subst p. simpl.
  unfold full, total_slots, experts; simpl. rewrite HL, Nat.add_0_r, Nat.eqb_refl. simpl.
  destruct (Nat.eqb_spec m 0); [lia|]. destruct (Nat.eqb_spec k 0); [lia|]. simpl. apply Z.ltb_lt. rewrite Z.mul_1_r. exact H.
Qed.
